//! `/openapi.json`: the routes describe themselves; what they have in common (the key, common headers, problem documents)
//! is added here, once.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Required, Response,
        ResponseBuilder, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::{problem::ProblemDocument, router};

/// The problems a route can answer with, beside its own answers: (status, description).
const PROBLEMS: [(&str, &str); 12] = [
    ("400", "The body is not JSON"),
    ("401", "No key, or one that is not known or was revoked"),
    ("403", "The key lacks the scope, or acts for another merchant"),
    ("404", "There is no such object for this key"),
    ("405", "The path has no such method"),
    ("408", "The body did not arrive in time"),
    ("409", "The state does not allow it, or the idempotency key was used for something else"),
    ("413", "The body is too large"),
    ("415", "The body is not `application/json`"),
    ("422", "A field, parameter or header cannot be used; `field` names it"),
    ("429", "Too many requests; `Retry-After` says when to go on"),
    ("503", "Something behind the API does not work, or too much is asked at one time"),
];

/// The document as JSON.
pub fn document() -> String {
    // A document of text: there is nothing in it that JSON cannot state.
    described().to_pretty_json().unwrap_or_default()
}

fn described() -> OpenApi {
    let mut api = router::described().into_openapi();
    let about = "Payments that become a ledger that can be trusted. Amounts are decimal numbers as text. Answers to commands \
                 carry `Streambook-Position`; a read that is sent it sees what the command did.";
    api.info = InfoBuilder::new()
        .title("Streambook")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(about))
        .build();
    let components = api.components.get_or_insert_with(Components::new);
    let bearer =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("sk_test_… or sk_live_…").build();
    components.add_security_scheme("key", SecurityScheme::Http(bearer));
    components.schemas.insert(ProblemDocument::name().into_owned(), ProblemDocument::schema());
    api.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    for (path, item) in &mut api.paths.paths {
        let posts = item.post.as_mut().map(|operation| (operation, true));
        let others = [&mut item.get, &mut item.put, &mut item.patch, &mut item.delete].into_iter();
        let others = others.filter_map(Option::as_mut).map(|operation| (operation, false));
        for (operation, is_post) in posts.into_iter().chain(others) {
            complete(path, operation, is_post);
        }
    }
    api
}

/// Adds what a route has in common with others.
fn complete(path: &str, operation: &mut Operation, is_post: bool) {
    let is_keyed = path.starts_with("/v1/");
    if is_keyed || path.starts_with("/ingest/") {
        for (status, description) in PROBLEMS {
            let known = operation.responses.responses.contains_key(status);
            if !known {
                operation.responses.responses.insert(status.to_owned(), RefOr::T(problem(description)));
            }
        }
    }
    let parameters = operation.parameters.get_or_insert_default();
    if is_keyed && is_post {
        parameters.push(header(
            "Idempotency-Key",
            "Sent again with the same request, gives the first answer again",
            Some(255),
        ));
    }
    if is_keyed {
        parameters.push(header("Streambook-Merchant", "The merchant an operator's key acts for", None));
        parameters.push(header(
            "Streambook-Position",
            "The position of an earlier answer, which this read must see",
            None,
        ));
    }
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemDocument::name()))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

fn header(name: &str, description: &str, most: Option<usize>) -> RefOr<Parameter> {
    let schema = ObjectBuilder::new().schema_type(Type::String).min_length(most.map(|_| 1)).max_length(most);
    let parameter =
        ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
    RefOr::T(parameter.description(Some(description)).schema(Some(schema.build())).build())
}
